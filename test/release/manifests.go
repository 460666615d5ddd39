package release

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// imageInManifests is the name in the checkout.
const imageInManifests = "image: bondkeeper.io/bondkeeper:dev\n"

func overlays() []string { return []string{"containerd", "okd"} }

func (o *Options) manifestFile(overlay string) string {
	return "bondkeeper-" + overlay + "-" + o.Version + ".yaml"
}

// writeManifests writes all objects of each overlay into one file, with the image of this release.
func (o *Options) writeManifests() error {
	for _, overlay := range overlays() {
		text, err := o.manifest(overlay)
		if err != nil {
			return err
		}
		if err = os.WriteFile(o.file(o.manifestFile(overlay)), text, 0o644); err != nil { //nolint:gosec // for everybody
			return err
		}
	}
	return nil
}

func (o *Options) manifest(overlay string) ([]byte, error) {
	dir := filepath.Join(o.Root, "manifests", "overlays", overlay)
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	text, err := objects.AsYaml()
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(text, []byte(imageInManifests)) {
		return nil, fmt.Errorf("%s has no %s", dir, strings.TrimSpace(imageInManifests))
	}
	return bytes.ReplaceAll(text, []byte(imageInManifests), []byte("image: "+o.Image+"\n")), nil
}

// verifyManifests: each has the image of this release and no other.
func (o *Options) verifyManifests() error {
	for _, overlay := range overlays() {
		text, err := os.ReadFile(filepath.Join(o.Out, o.manifestFile(overlay)))
		if err != nil {
			return err
		}
		if all, own := strings.Count(string(text), "image: "), strings.Count(string(text), "image: "+o.Image+"\n"); own == 0 || all != own {
			return fmt.Errorf("%s: %d of %d images are %s", o.manifestFile(overlay), own, all, o.Image)
		}
	}
	return nil
}
