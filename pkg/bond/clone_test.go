package bond_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestCloneSharesNothing: a field that Clone does not copy would be changed in both records.
func TestCloneSharesNothing(t *testing.T) {
	r := new(bond.Record)
	n := 0
	fill(t, reflect.ValueOf(r).Elem(), "Record", &n)
	c := r.Clone()
	if !reflect.DeepEqual(c, r) {
		t.Fatalf("copy %+v\nof %+v", c, r)
	}
	shared(t, reflect.ValueOf(r).Elem(), reflect.ValueOf(c).Elem(), "Record")
	if empty := new(bond.Record); !reflect.DeepEqual(empty.Clone(), empty) {
		t.Errorf("the copy of an empty record is %+v", empty.Clone())
	}
}

// opaque values are never changed in place.
func opaque(v reflect.Value) bool {
	switch v.Interface().(type) {
	case time.Time, netip.Addr, netip.Prefix:
		return true
	}
	return false
}

// fill sets everything to a value of its own.
func fill(t *testing.T, v reflect.Value, path string, n *int) {
	t.Helper()
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(int64(*n), 0)))
		return
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.AddrFrom4([4]byte{10, 0, 0, byte(*n)})))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(*n)}), 24)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), path+"."+v.Type().Field(i).Name, n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), path, n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), path, n)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, path, n)
		fill(t, value, path, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(fmt.Sprint(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n % 100))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n % 100))
	default:
		t.Fatalf("%s: the test does not know kind %s", path, v.Kind())
	}
}

// shared fails the test for everything that a change of a would change in b, too.
func shared(t *testing.T, a, b reflect.Value, path string) {
	t.Helper()
	if opaque(a) {
		return
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			shared(t, a.Field(i), b.Field(i), path+"."+a.Type().Field(i).Name)
		}
	case reflect.Pointer:
		if a.Pointer() == b.Pointer() {
			t.Errorf("%s is shared", path)
		}
		shared(t, a.Elem(), b.Elem(), path)
	case reflect.Slice:
		if a.Pointer() == b.Pointer() {
			t.Errorf("%s is shared", path)
		}
		for i := range a.Len() {
			shared(t, a.Index(i), b.Index(i), path)
		}
	case reflect.Map:
		if a.Pointer() == b.Pointer() {
			t.Errorf("%s is shared", path)
		}
	}
}
