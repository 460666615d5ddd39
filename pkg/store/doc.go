// Package store has the records of pod bonds in files, one per bond, and the locks of bonds. Several processes of
// possibly different versions may use a directory at once. Files are replaced atomically.
//
// It does not use netlink or Kubernetes. Package watch watches the directory.
//
// # Layout
//
//	/run/bondkeeper/                         0700
//	  <containerID>@<ifName>.json            a record; made and replaced by rename only
//	  <containerID>@<ifName>.json.bad-1      a quarantined record, which could not be read
//	  locks/<containerID>@<ifName>.lock      held with flock(2); removed when no record, holder or waiter is left
//	  locks/agent.lock                       the same for the node's agent, with its pid
//	  tmp/                                   records that are being written
//	  reserve/<containerID>@<ifName>.json    disk space for the record's tombstone
//	  deletions/<containerID>@<ifName>.T     the record made at time T is a tombstone, whatever its content
//
// Locks, temporary files and reserves have directories of their own, so that a watch on the top directory sees exactly
// one event per record change. Earlier versions had the reserves in spare/; List moves them.
//
// # Records that cannot be read
//
// A bad file affects no other bond and is never deleted. A damaged one is renamed by the next List, Save or Remove,
// under the bond's lock. A file of a newer format version is not damaged: it remains for the newer program that wrote
// it (an upgrade under way, or a downgrade that is reverted), and this program leaves that bond alone. Load treats both
// as no record, so that a DEL succeeds.
package store
