package release

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// Verify checks the files of a release against each other.
func Verify(o *Options) error {
	return errors.Join(o.verifyPackaging(), o.verifySBOMs())
}

// verifyPackaging checks all files except the SBOMs.
func (o *Options) verifyPackaging() error {
	errs := []error{verifySums(o.Out), o.verifyFiles(), o.verifyKrew(), o.verifyManifests()}
	for _, t := range targets() {
		want := []string{"LICENSE"}
		for _, p := range t.programs {
			want = append(want, t.file(p))
		}
		errs = append(errs, has(filepath.Join(o.Out, t.archive(o.Version)), want...))
	}
	return errors.Join(errs...)
}

// verifyFiles: nothing is missing, and nothing else is there.
func (o *Options) verifyFiles() error {
	want := []string{sumsFile, krewFile, o.imageFile()}
	for _, t := range targets() {
		want = append(want, t.archive(o.Version))
	}
	for _, overlay := range overlays() {
		want = append(want, o.manifestFile(overlay))
	}
	for program := range packages {
		want = append(want, o.sbomFile(program))
	}
	slices.Sort(want)
	got, err := fileNames(o.Out)
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("the release has %q, want %q", got, want)
	}
	return err
}

// has: an archive has these files and no others, none is empty, and programs are executable.
func has(archive string, want ...string) error {
	files, err := readArchive(archive)
	if err != nil {
		return err
	}
	var got []string
	for _, f := range files {
		got = append(got, f.name)
		if len(f.data) == 0 {
			err = fmt.Errorf("%s: %s is empty", archive, f.name)
		}
		if f.name != "LICENSE" && f.mode.Perm() != 0o755 {
			err = fmt.Errorf("%s: %s has mode %o", archive, f.name, f.mode.Perm())
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		err = fmt.Errorf("%s has %q, want %q", archive, got, want)
	}
	return err
}
