// Package history keeps the repair history of bonds: which losses are open, which repairs have to wait, and which
// settings another writer insists on. The engine reports to it what was observed, planned and applied. It returns what
// to try now, what to log, and whether the record changed.
//
// The bond and each of its members is a subject. A subject has one state for each of these, and subject.next has all
// transitions:
//
//	loss     ok, lost, damped      damped: lost again and again right after its return, so its repair waits
//	carrier  ok, silent, bounced   silent: no carrier although its PF has one; bounced: that was answered by a bounce
//	action   ready, backing off    per kind of action, after failures
//	setting  restored, contested   contested: another writer changed it back too often, so its value is adopted
//	budget   free, limited         per kind of repair; limited: another writer keeps undoing it
//
// Open losses, contested settings and the names of limited repairs are in the record, and survive the process. All else
// only delays repairs, and is lost with the process.
package history
