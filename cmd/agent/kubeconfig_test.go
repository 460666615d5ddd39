package main

import (
	"testing"

	"github.com/spf13/cobra"
)

// TestKubeconfigFlag: the flag wins over KUBECONFIG, also if it is empty.
func TestKubeconfigFlag(t *testing.T) {
	for _, c := range []struct {
		name, env, want string
		args            []string
	}{
		{name: "neither"},
		{name: "KUBECONFIG", env: "a:b", want: "a:b"},
		{name: "flag", args: []string{"--kubeconfig", "c"}, want: "c"},
		{name: "both", env: "a", args: []string{"--kubeconfig", "none"}, want: "none"},
		{name: "empty flag", env: "a", args: []string{"--kubeconfig", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", c.env)
			for _, cmd := range []*cobra.Command{runCommand(), doctorCommand()} {
				err := cmd.ParseFlags(c.args)
				if got := cmd.Flag("kubeconfig").Value.String(); err != nil || got != c.want {
					t.Errorf("%s: %q, %v; want %q", cmd.Name(), got, err, c.want)
				}
			}
		})
	}
}
