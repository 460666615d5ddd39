package release

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// sumsFile has the checksums of all other files, for sha256sum -c.
const sumsFile = "SHA256SUMS"

func sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

func sums(dir string) (string, error) {
	names, err := fileNames(dir)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, name := range names {
		if name == sumsFile {
			continue
		}
		s, err := sum(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "%s  %s\n", s, name)
	}
	return text.String(), nil
}

func writeSums(dir, path string) error {
	text, err := sums(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // for everybody
}

// verifySums: the file has every other file, with the right sum, and no more.
func verifySums(dir string) error {
	want, err := sums(dir)
	if err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(dir, sumsFile))
	if err == nil && string(got) != want {
		err = fmt.Errorf("%s is not that of the files: want\n%s", sumsFile, want)
	}
	return err
}
