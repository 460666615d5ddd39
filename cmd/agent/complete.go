package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// completePods completes the names of pods with a record. A shell shows no errors, so there are none.
func completePods(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const noFiles = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 {
		return nil, noFiles
	}
	records, err := store.Open(cmd.Flag("state-dir").Value.String())
	if err != nil {
		return nil, noFiles
	}
	list, _, err := records.List(cmd.Context())
	if err != nil {
		return nil, noFiles
	}
	var pods []string
	for _, r := range list {
		pods = append(pods, r.Pod.String())
	}
	slices.Sort(pods)
	return slices.Compact(pods), noFiles
}
