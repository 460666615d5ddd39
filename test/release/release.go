package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/bondkeeper/bondkeeper/test/image"
)

// Options say what release is made.
type Options struct {
	// Root is the checkout, and Out the directory of the files, which must not exist.
	Root, Out string
	// Version is a semantic version with a "v".
	Version string
	// Created is the time of everything in the archives.
	Created time.Time
	// Image is the name of the image in the manifests, with its tag.
	Image string
	// URL is the address of the directory with the published files.
	URL string
	// SBOMTool is the program cyclonedx-gomod.
	SBOMTool string
	// Log is called with each program that is built, and each file that is made.
	Log func(what string)
}

var versionPattern = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

func (o *Options) validate() error {
	if !versionPattern.MatchString(o.Version) {
		return fmt.Errorf("version %q: want a semantic version such as v1.0.0", o.Version)
	}
	return nil
}

// file returns the path of a file of the release, and reports that it is made.
func (o *Options) file(name string) string {
	o.Log(name)
	return filepath.Join(o.Out, name)
}

// Make makes a release and verifies it.
func Make(ctx context.Context, o Options) error {
	if err := o.validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.Out), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(o.Out, 0o755); err != nil {
		return err
	}
	programs, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(programs) }()
	for _, t := range targets() {
		if err := o.build(ctx, t, programs); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		func() error { return o.packPrograms(programs) },
		func() error { return o.writeSBOMs(ctx, programs) },
		func() error { return o.writeImage(ctx) },
		o.writeManifests,
		o.writeKrew,
		func() error { return writeSums(o.Out, o.file(sumsFile)) },
		func() error { return Verify(&o) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// writeImage writes the archive of the image for all architectures.
func (o *Options) writeImage(ctx context.Context) error {
	images := map[string]v1.Image{}
	for _, arch := range archs {
		made, err := image.Build(ctx, image.Options{Root: o.Root, Version: o.Version, Created: o.Created}, arch)
		if err != nil {
			return err
		}
		images[arch] = made
	}
	return image.Write(o.file(o.imageFile()), o.Image, image.Index(images, archs), o.Created)
}

func (o *Options) imageFile() string { return "bondkeeper-image-" + o.Version + ".tar" }

// Same compares the files of two releases.
func Same(a, b string) error {
	names, err := fileNames(a)
	others, err2 := fileNames(b)
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	if fmt.Sprint(names) != fmt.Sprint(others) {
		return fmt.Errorf("the files differ: %q and %q", names, others)
	}
	var errs []error
	for _, name := range names {
		first, err := sum(filepath.Join(a, name))
		second, err2 := sum(filepath.Join(b, name))
		if err = errors.Join(err, err2); err == nil && first != second {
			err = fmt.Errorf("%s differs", name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func fileNames(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}
