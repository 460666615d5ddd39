package cni

import (
	"encoding/json"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// prevResult reads the previous plugin's result; nil if there is none.
func (o object) prevResult(cniVersion string) (*current.Result, error) {
	raw, found := o.Raw("prevResult")
	if !found {
		return nil, nil
	}
	if err := rejectNulls(raw); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, fmt.Sprintf("prevResult: %v", bond.DecodeError(err)), "")
	}
	result, err := createResult(cniVersion, raw)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, fmt.Sprintf("prevResult: %v", bond.DecodeError(err)), "")
	}
	prev, err := current.NewResultFromResult(result)
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, fmt.Sprintf("prevResult: %v", bond.DecodeError(err)), "")
	}
	return prev, nil
}

// createResult parses a result in its own version, or else in the config's.
func createResult(cniVersion string, raw json.RawMessage) (types.Result, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	if v, found := fields["cniVersion"]; !found || string(v) == `""` || string(v) == "null" {
		fields["cniVersion"], _ = json.Marshal(cniVersion) // a string always can
		raw, _ = json.Marshal(fields)                      // what was just unmarshalled always can
	}
	return create.CreateFromBytes(raw)
}

// rejectNulls returns an error if a list of objects in a result has a null: the CNI library follows
// such a pointer when it converts between versions.
func rejectNulls(raw json.RawMessage) error {
	var lists struct {
		Interfaces, IPs, Routes []json.RawMessage
	}
	if err := json.Unmarshal(raw, &lists); err != nil {
		return err
	}
	for name, list := range map[string][]json.RawMessage{"interfaces": lists.Interfaces, "ips": lists.IPs, "routes": lists.Routes} {
		for i, entry := range list {
			if string(entry) == "null" {
				return fmt.Errorf("%s[%d] is null", name, i)
			}
		}
	}
	return nil
}
