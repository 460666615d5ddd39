package doctor

import "testing"

func TestKernelRelease(t *testing.T) {
	for release, want := range map[string]Level{
		"4.18.0-553.el8_10.x86_64": Fail, "5.10.0-33-amd64": Fail, "5.13.19": Fail,
		"5.14.0-570.el9.x86_64": OK, "6.1.0-40-amd64": OK, "7.3.1": OK, "6.12-rc3": OK, "unknown": Warn,
	} {
		if f := kernelOf(release); f.Level != want || f.Found == "" || (f.Remedy == "") != (want == OK) {
			t.Errorf("%s: %+v, want level %s", release, f, want)
		}
	}
}
