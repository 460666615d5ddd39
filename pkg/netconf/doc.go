// Package netconf reads network configs of CNI field by field, with errors that name the field, the value found and the
// values allowed.
//
// It must not know what a field means: that is for the packages that read it.
package netconf
