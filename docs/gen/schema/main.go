// Command schema writes docs/status.schema.json, the JSON schema of the annotation bondkeeper.io/bonds, from its Go
// type: go run ./docs/gen/schema > docs/status.schema.json
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "schema:", err)
		os.Exit(1)
	}
}

func write(w io.Writer) error {
	list, err := jsonschema.For[[]v1.Bond](nil)
	if err != nil {
		return fmt.Errorf("schema of the annotation: %w", err)
	}
	finalize(list)
	list.Schema = "https://json-schema.org/draft/2020-12/schema"
	list.Title = v1.Annotation
	list.Description = "The pod's bonds, an entry a bond, sorted by interface"
	entry := list.Items.Properties
	entry["version"].Const = jsonschema.Ptr[any](v1.Version)
	for _, state := range v1.States() {
		entry["state"].Enum = append(entry["state"].Enum, string(state))
	}
	entry["lastRepair"].Properties["at"].Format = "date-time"
	entry["members"].Items.Properties["since"].Format = "date-time"
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("schema of the annotation: %w", err)
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

// finalize takes out what the Go types leave open and the format does not: nothing is ever null, and a field that this
// version does not know is allowed, for it may come.
func finalize(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if kinds := slices.DeleteFunc(slices.Clone(s.Types), func(t string) bool { return t == "null" }); len(kinds) == 1 {
		s.Type, s.Types = kinds[0], nil
	}
	s.AdditionalProperties = nil
	finalize(s.Items)
	for _, p := range s.Properties {
		finalize(p)
	}
}
