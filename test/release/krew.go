package release

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// krewFile is the manifest of the plugin for krew, which requires this name.
const krewFile = "bonds.yaml"

// krewPlugin is the part of krew's format that is used (krew.googlecontainertools.github.com/v1alpha2).
type krewPlugin struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Metadata   krewMetadata `json:"metadata"`
	Spec       krewSpec     `json:"spec"`
}

type krewMetadata struct {
	Name string `json:"name"`
}

type krewSpec struct {
	Version          string         `json:"version"`
	Homepage         string         `json:"homepage"`
	ShortDescription string         `json:"shortDescription"`
	Description      string         `json:"description"`
	Platforms        []krewPlatform `json:"platforms"`
}

type krewPlatform struct {
	Selector krewSelector `json:"selector"`
	URI      string       `json:"uri"`
	SHA256   string       `json:"sha256"`
	Bin      string       `json:"bin"`
}

type krewSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

// krewTargets are those of the plugin.
func krewTargets() (all []target) {
	for _, t := range targets() {
		if t.name == "kubectl-bonds" {
			all = append(all, t)
		}
	}
	return all
}

func (o *Options) writeKrew() error {
	p := krewPlugin{
		APIVersion: "krew.googlecontainertools.github.com/v1alpha2", Kind: "Plugin", Metadata: krewMetadata{"bonds"},
		Spec: krewSpec{
			Version: o.Version, Homepage: "https://github.com/bondkeeper/bondkeeper", ShortDescription: "Show the bonds of pods, the worst first",
			Description: "Shows the state of the network bonds of all pods, from the annotations that the agents\n" +
				"of Bondkeeper write, and explains those of one pod. It needs the right to list pods.\n",
		},
	}
	for _, t := range krewTargets() {
		name := t.archive(o.Version)
		hash, err := sum(filepath.Join(o.Out, name))
		if err != nil {
			return err
		}
		p.Spec.Platforms = append(p.Spec.Platforms, krewPlatform{
			Selector: krewSelector{map[string]string{"os": t.os, "arch": t.arch}},
			URI:      strings.TrimSuffix(o.URL, "/") + "/" + name, SHA256: hash, Bin: t.file("kubectl-bonds"),
		})
	}
	text, err := yaml.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(o.file(krewFile), text, 0o644) //nolint:gosec // for everybody
}

// verifyKrew: krew finds for each platform an archive of this release, with the right sum and the program in it.
func (o *Options) verifyKrew() error {
	text, err := os.ReadFile(filepath.Join(o.Out, krewFile))
	if err != nil {
		return err
	}
	var p krewPlugin
	if err = yaml.UnmarshalStrict(text, &p); err != nil {
		return err
	}
	if p.Spec.Version != o.Version || p.Metadata.Name != "bonds" || len(p.Spec.Platforms) != len(krewTargets()) {
		return fmt.Errorf("%s: name %s, version %s, %d platforms", krewFile, p.Metadata.Name, p.Spec.Version, len(p.Spec.Platforms))
	}
	for _, platform := range p.Spec.Platforms {
		name := platform.URI[strings.LastIndex(platform.URI, "/")+1:]
		hash, err := sum(filepath.Join(o.Out, name))
		if err != nil {
			return fmt.Errorf("%s: %w", krewFile, err)
		}
		if hash != platform.SHA256 {
			return fmt.Errorf("%s: the sum of %s is %s", krewFile, name, hash)
		}
		if !strings.Contains(name, "-"+platform.Selector.MatchLabels["os"]+"-"+platform.Selector.MatchLabels["arch"]+".") {
			return fmt.Errorf("%s: %s for %v", krewFile, name, platform.Selector.MatchLabels)
		}
		if err = has(filepath.Join(o.Out, name), platform.Bin, "LICENSE"); err != nil {
			return err
		}
	}
	return nil
}
