// Package walk generates random sequences of steps that can be repeated, shortened and stored in a file.
//
// A step is data: the name of an operation, and small numbers that select its object. The effect of a step does not
// depend on what was drawn for another step, so a sequence from which steps are removed has the same meaning.
package walk
