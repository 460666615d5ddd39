// Package v1 is the format of what Bondkeeper writes on a pod: the annotation "bondkeeper.io/bonds", a JSON list with
// one entry per bond, and the name of the condition. It imports the standard library only, so that readers of the
// annotation can use it.
//
// New fields may be added to v1, but fields never change their meaning. A reader ignores unknown fields. An
// incompatible change will have another version.
package v1
