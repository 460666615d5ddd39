package cni

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

// maxShown bounds how much of a bad value is repeated in an error, in bytes.
const maxShown = 80

// jsonObject is a JSON object, read field by field so that an error can name the field,
// the value and the values allowed.
type jsonObject struct {
	// path goes before a field's name in messages: "ipam." or empty.
	path   string
	fields map[string]json.RawMessage
}

// parseObject takes apart a JSON object. path is what goes before its fields' names.
func parseObject(path string, data []byte) (jsonObject, error) {
	o := jsonObject{path: path}
	err := json.Unmarshal(data, &o.fields)
	return o, err
}

// raw finds a field. As with encoding/json, which plugins are written with, the letter
// case of names does not matter, but an exact match is preferred. Null counts as absent.
func (o jsonObject) raw(name string) (json.RawMessage, bool) {
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

// scalar is a string, number or boolean as text; absent is false.
func (o jsonObject) scalar(name, want string) (string, bool, error) {
	value, found := o.raw(name)
	if !found {
		return "", false, nil
	}
	switch value[0] {
	case '{', '[':
		return "", false, o.invalid(name, want)
	case '"':
		return o.str(name, want)
	}
	return string(value), true, nil
}

// str is a string; absent is false.
func (o jsonObject) str(name, want string) (string, bool, error) {
	value, found := o.raw(name)
	if !found {
		return "", false, nil
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return "", false, o.invalid(name, want)
	}
	return s, true, nil
}

// boolean is true, false or, as other plugins write it, the same in quotes; absent is false.
func (o jsonObject) boolean(name string) (bool, error) { return o.booleanOr(name, false) }

func (o jsonObject) booleanOr(name string, absent bool) (bool, error) {
	switch s, found, err := o.scalar(name, trueOrFalse); {
	case err != nil || !found:
		return absent && err == nil, err
	case s == "true":
		return true, nil
	case s == "false":
		return false, nil
	}
	return false, o.invalid(name, trueOrFalse)
}

// object is a nested object; absent is one without fields.
func (o jsonObject) object(name string) (jsonObject, error) {
	value, found := o.raw(name)
	if !found {
		return jsonObject{path: o.path + name + "."}, nil
	}
	inner, err := parseObject(o.path+name+".", value)
	if err != nil {
		return jsonObject{}, o.invalid(name, "an object")
	}
	return inner, nil
}

// decode reads a field into what v points to, in the shape that is wanted.
func (o jsonObject) decode(name, want string, v any) (bool, error) {
	value, found := o.raw(name)
	if !found {
		return false, nil
	}
	if json.Unmarshal(value, v) != nil {
		return false, o.invalid(name, want)
	}
	return true, nil
}

// invalid is the error for a field whose value is not one of those wanted.
func (o jsonObject) invalid(name, want string) *types.Error {
	value, _ := o.raw(name)
	return invalid(o.path+name, quoteValue(string(value)), want)
}

// invalid is CNI's error for a network config that asks for something impossible: which
// field, what stands there, what is wanted.
func invalid(field, found, want string) *types.Error {
	return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("%s: found %s, want %s", field, found, want), "")
}

// quoteValue is a value from outside, fit for a message: bounded, and with '?' for what does not print.
func quoteValue(value string) string {
	if value == "" || value == "null" {
		return "nothing"
	}
	return bond.Printable(strings.Join(strings.Fields(value), " "), maxShown)
}
