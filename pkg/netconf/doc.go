// Package netconf reads network configs of CNI field by field, with errors that name the field, the value found and the
// values allowed.
//
// It must not interpret fields: the packages that read them do.
package netconf
