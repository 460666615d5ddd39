package bond_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestStoredIsWhatIsLoaded: a record that the store keeps after saving it must be what another process loads.
func TestStoredIsWhatIsLoaded(t *testing.T) {
	n := 0
	full := new(bond.Record)
	fill(t, reflect.ValueOf(full).Elem(), "Record", &n)
	full.CNI.Config = json.RawMessage(" {\n \"a\": \"<&>\u2028\", \"b\" : [ 1 ] }")
	hollow, inside := full.Clone(), full.Clone()
	empty(reflect.ValueOf(hollow).Elem(), false)
	empty(reflect.ValueOf(inside).Elem(), true)
	for name, r := range map[string]*bond.Record{"full": full, "empty lists": hollow, "empty lists in lists": inside, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			now(reflect.ValueOf(r).Elem())
			before, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := r.Stored()
			if err != nil {
				t.Fatal(err)
			}
			data, err := json.Marshal(stored)
			if err != nil {
				t.Fatal(err)
			}
			loaded := new(bond.Record)
			if err = json.Unmarshal(data, loaded); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(stored, loaded) {
				t.Errorf("stored %+v\nloaded %+v", stored, loaded)
			}
			if after, err := json.Marshal(r); err != nil || string(after) != string(before) {
				t.Errorf("it changed the record (%v): %s\nwas %s", err, after, before)
			}
			if len(data) < len(before)-200 {
				t.Errorf("%s\nhas less than %s", data, before)
			}
		})
	}
}

// empty makes all lists and maps empty but not nil; with inside, those in lists of structs instead of these.
func empty(v reflect.Value, inside bool) {
	if opaque(v) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			empty(v.Field(i), inside)
		}
	case reflect.Pointer:
		empty(v.Elem(), inside)
	case reflect.Slice:
		if inside && v.Type().Elem().Kind() == reflect.Struct && !opaque(v.Index(0)) {
			for i := range v.Len() {
				empty(v.Index(i), inside)
			}
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 0, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	}
}

// now makes all times those of a clock that also counts since the start of the process, in another zone than UTC.
func now(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Now().In(time.FixedZone("east", 3600))))
		return
	}
	if opaque(v) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			now(v.Field(i))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			now(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			now(v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(k))
			now(value)
			v.SetMapIndex(k, value)
		}
	}
}
