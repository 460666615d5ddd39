package main

import "testing"

// TestKubeconfigFlag: the flag wins over KUBECONFIG, also if it is empty.
func TestKubeconfigFlag(t *testing.T) {
	for _, c := range []struct {
		name, env, want string
		args            []string
	}{
		{name: "neither"},
		{name: "KUBECONFIG", env: "a:b", want: "a:b"},
		{name: "flag", args: []string{"-kubeconfig", "c"}, want: "c"},
		{name: "both", env: "a", args: []string{"-kubeconfig", "none"}, want: "none"},
		{name: "empty flag", env: "a", args: []string{"-kubeconfig", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", c.env)
			var run settings
			var doctor doctorSettings
			if err := parse(runFlags(&run), c.args); err != nil || run.kubeconfig != c.want {
				t.Errorf("run: %q, %v; want %q", run.kubeconfig, err, c.want)
			}
			if err := parse(doctorFlags(&doctor), c.args); err != nil || doctor.kubeconfig != c.want {
				t.Errorf("doctor: %q, %v; want %q", doctor.kubeconfig, err, c.want)
			}
		})
	}
}
