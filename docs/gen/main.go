// Command gen writes docs/options.md from the tables of bonding options and of the plugin's own fields, so that
// page and code always agree: go run ./docs/gen > docs/options.md
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni"
)

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

const fieldsHead = `
# The plugin's own fields

The network config has these fields in addition to the bonding options. Booleans and numbers may be quoted. Unknown
fields are ignored, as the CNI specification requires. A runtime passes runtimeConfig.mac and runtimeConfig.ips only if
the config has ` + "`\"capabilities\": {\"mac\": true, \"ips\": true}`" + `, as for every plugin. A change of a network config applies
to new pods only: the record of a bond has the config of its ADD.

| field | values | default | what it does |
|---|---|---|---|
`

const head = `# Bonding options

Generated from the code (` + "`make docs`" + `). The network config has options under their names, as a string or a
number. Enumerations accept values by name or by number, counted from 0 in the order shown. A list of addresses is a
JSON list or one string with commas. Options that are not set are left to the kernel.

*Live* is whether the kernel changes the option on a bond that is up and has members. Other options are never forced on
a live bond: a change of them is reported and the bond is left alone.

| option | values | default | modes | live | kernel | what it does |
|---|---|---|---|---|---|---|
`

func write(w io.Writer) error {
	var b strings.Builder
	b.WriteString(head)
	for _, d := range bond.OptionDefs() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n",
			d.Name, values(&d), dash(d.Default), modes(&d), live(d.Changeable), d.Since, d.About)
	}
	b.WriteString("\n*In effect*: the kernel accepts the option in every mode, but it has an effect only in these; otherwise ADD warns.\n")
	b.WriteString(fieldsHead)
	for _, f := range cni.Fields() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, strings.ReplaceAll(f.Values, "|", `\|`), f.Default, f.About)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func values(d *bond.OptionDef) string {
	if len(d.Values) > 0 {
		return strings.Join(d.Values, ", ")
	}
	switch d.Kind {
	case bond.KindUint8, bond.KindUint16, bond.KindUint32:
		return fmt.Sprintf("%d–%d", d.Min, d.Max)
	default:
		return d.AllowedValues()
	}
}

func modes(d *bond.OptionDef) string {
	list, mark := d.Modes, ""
	if len(list) == 0 {
		list, mark = d.EffectiveModes, "in effect: "
	}
	if len(list) == 0 {
		return "all"
	}
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = m.String()
	}
	return mark + strings.Join(names, ", ")
}

func live(w bond.Changeable) string {
	switch {
	case w&bond.NoMembers != 0 && w&bond.BondDown != 0:
		return "no: bond down, without members"
	case w&bond.NoMembers != 0:
		return "no: without members"
	case w&bond.BondDown != 0:
		return "no: bond down"
	default:
		return "yes"
	}
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
