package bond

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckKernel(t *testing.T) {
	for release, supported := range map[string]bool{
		"5.10.0-32-amd64": false, "4.18.0-553.el8.x86_64": false, "5.13": false, "5.14.0-570.el9.x86_64": true,
		"5.14": true, "6.1.0-50-amd64": true, "6.12.95+deb12-amd64": true, "10.0": true, "custom": true, "": true,
	} {
		err := CheckKernel(release)
		if (err == nil) != supported {
			t.Errorf("%q: %v, want supported %t", release, err, supported)
		}
		if err != nil && (!errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), release)) {
			t.Errorf("%q: %v; want ErrUnsupported, with the release", release, err)
		}
	}
}

func TestKernelAtLeast(t *testing.T) {
	for _, tc := range []struct {
		release, version string
		want             bool
	}{
		{"6.1.0-50-amd64", "6.12", false}, {"6.12.95+deb12-amd64", "6.9", true}, {"6.12.95", "6.12", true},
		{"7.3.4+deb13-amd64", "6.18", true}, {"5.19.1", "6.0", false}, {"custom", "9.9", true},
	} {
		if got := KernelAtLeast(tc.release, tc.version); got != tc.want {
			t.Errorf("%s at least %s: %t", tc.release, tc.version, got)
		}
	}
}
