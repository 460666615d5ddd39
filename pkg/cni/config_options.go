package cni

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

// options reads every bonding option, each as a string, a number or a boolean, and lists of
// addresses also as a list of strings. links are the members' names.
func (o object) options(links []string) (bond.Options, error) {
	opts := bond.Options{}
	for _, d := range bond.OptionDefs() {
		text, found, err := o.option(&d)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		value, err := d.Parse(text)
		if err != nil {
			return nil, o.Invalid(string(d.Name), d.AllowedValues())
		}
		if d.Kind == bond.KindLink && !slices.Contains(links, value) {
			return nil, netconf.Invalid(string(d.Name), strconv.Quote(value), "one of the links: "+strings.Join(links, ", "))
		}
		opts[d.Name] = value
	}
	if _, requested := opts[bond.OptMode]; !requested {
		return nil, netconf.Invalid(string(bond.OptMode), "nothing", bond.LookupOption(bond.OptMode).AllowedValues())
	}
	if opts[bond.OptMiimon] == "" && isZero(opts[bond.OptArpInterval]) {
		opts[bond.OptMiimon] = defaultMiimon
	}
	if err := opts.Validate(); err != nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, err.Error(), "")
	}
	return opts, nil
}

// option returns the text of one option in the form that bond.OptionDef.Parse accepts.
func (o object) option(d *bond.OptionDef) (text string, found bool, err error) {
	name := string(d.Name)
	value, found := o.Raw(name)
	if found && value[0] == '[' && (d.Kind == bond.KindIPv4s || d.Kind == bond.KindIPv6s) {
		var list []string
		if json.Unmarshal(value, &list) != nil {
			return "", false, o.Invalid(name, d.AllowedValues())
		}
		if slices.ContainsFunc(list, func(s string) bool { return strings.TrimSpace(s) == "" || strings.Contains(s, ",") }) {
			return "", false, o.Invalid(name, d.AllowedValues())
		}
		return strings.Join(list, ","), true, nil
	}
	text, found, err = o.Scalar(name, d.AllowedValues())
	if err == nil && found && text == "" && d.Kind != bond.KindIPv4s && d.Kind != bond.KindIPv6s {
		return "", false, netconf.Invalid(name, "an empty string", d.AllowedValues())
	}
	return text, found, err
}

func isZero(number string) bool { return number == "" || number == "0" }
