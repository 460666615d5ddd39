package sysdump

import (
	"fmt"
	"net"
	"reflect"
)

// plain converts a value of the netlink package for JSON. MACs, addresses and named numbers become text. Fields without
// a value are left out.
func plain(v reflect.Value) any {
	if !v.IsValid() || v.IsZero() {
		return nil
	}
	switch x := v.Interface().(type) {
	case net.HardwareAddr:
		return x.String()
	case net.IP:
		return x.String()
	case net.IPNet:
		return x.String()
	case fmt.Stringer:
		if v.CanInt() || v.CanUint() {
			return x.String()
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return plain(v.Elem())
	case reflect.Struct:
		fields := map[string]any{}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				if value := plain(v.Field(i)); value != nil {
					fields[f.Name] = value
				}
			}
		}
		return fields
	case reflect.Slice:
		all := []any{}
		for i := range v.Len() {
			all = append(all, plain(v.Index(i)))
		}
		return all
	case reflect.Bool, reflect.String:
		return v.Interface()
	default:
		if v.CanInt() || v.CanUint() || v.CanFloat() {
			return v.Interface()
		}
		return nil
	}
}
