package netconf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// maxExcerpt bounds the excerpt of an invalid value in an error, in bytes.
const maxExcerpt = 80

// TrueOrFalse describes the allowed values of a boolean, for errors.
const TrueOrFalse = "true or false"

// Object is a JSON object, read field by field so that an error can name the field,
// the value and the values allowed. Errors are of type *types.Error.
type Object struct {
	// Path precedes a field's name in errors: "ipam." or empty.
	Path   string
	fields map[string]json.RawMessage
}

// Parse parses a JSON object. path precedes its fields' names in errors.
func Parse(path string, data []byte) (Object, error) {
	o := Object{Path: path}
	err := json.Unmarshal(data, &o.fields)
	return o, err
}

// Raw returns a field. As in encoding/json, which plugins use, the letter
// case of names does not matter, but an exact match is preferred. Null counts as absent.
func (o Object) Raw(name string) (json.RawMessage, bool) {
	value, found := o.fields[name]
	if !found {
		for _, k := range slices.Sorted(maps.Keys(o.fields)) {
			if strings.EqualFold(k, name) {
				value, found = o.fields[k], true
				break
			}
		}
	}
	return value, found && !bytes.Equal(value, []byte("null"))
}

// Scalar returns a string, number or boolean as text; false if it is absent.
func (o Object) Scalar(name, want string) (string, bool, error) {
	value, found := o.Raw(name)
	if !found {
		return "", false, nil
	}
	switch value[0] {
	case '{', '[':
		return "", false, o.Invalid(name, want)
	case '"':
		return o.Str(name, want)
	}
	return string(value), true, nil
}

// Str returns a string; false if it is absent.
func (o Object) Str(name, want string) (string, bool, error) {
	value, found := o.Raw(name)
	if !found {
		return "", false, nil
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return "", false, o.Invalid(name, want)
	}
	return s, true, nil
}

// Boolean returns a boolean, which may be in quotes, as other plugins write it; false if it is absent.
func (o Object) Boolean(name string) (bool, error) { return o.BooleanOr(name, false) }

// BooleanOr is Boolean with another value for an absent field.
func (o Object) BooleanOr(name string, absent bool) (bool, error) {
	switch s, found, err := o.Scalar(name, TrueOrFalse); {
	case err != nil || !found:
		return absent && err == nil, err
	case s == "true":
		return true, nil
	case s == "false":
		return false, nil
	}
	return false, o.Invalid(name, TrueOrFalse)
}

// Section returns a nested object; one without fields if it is absent.
func (o Object) Section(name string) (Object, error) {
	value, found := o.Raw(name)
	if !found {
		return Object{Path: o.Path + name + "."}, nil
	}
	inner, err := Parse(o.Path+name+".", value)
	if err != nil {
		return Object{}, o.Invalid(name, "an object")
	}
	return inner, nil
}

// Decode decodes a field into v. want describes the allowed values.
func (o Object) Decode(name, want string, v any) (bool, error) {
	value, found := o.Raw(name)
	if !found {
		return false, nil
	}
	if json.Unmarshal(value, v) != nil {
		return false, o.Invalid(name, want)
	}
	return true, nil
}

// Invalid returns the error for a field with an invalid value.
func (o Object) Invalid(name, want string) *types.Error {
	value, _ := o.Raw(name)
	return Invalid(o.Path+name, Excerpt(string(value)), want)
}

// Invalid returns CNI's error for an invalid network config: the field, its value and the allowed values.
func Invalid(field, found, want string) *types.Error {
	return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("%s: found %s, want %s", field, found, want), "")
}

// Excerpt makes a value from outside safe for a message: bounded, and with '?' for unprintable characters.
func Excerpt(value string) string {
	if value == "" || value == "null" {
		return "nothing"
	}
	return bond.Printable(strings.Join(strings.Fields(value), " "), maxExcerpt)
}
