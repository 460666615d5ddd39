// Package podbonds reads the bonds of a cluster's pods from the annotations that the agents write, and prints them. It
// needs the right to list pods, and to list events for an explanation. It knows only what the agents reported: if a node's
// agent does not run, that is old. It writes nothing to the cluster.
package podbonds
