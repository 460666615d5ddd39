package sysdump

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxFile bounds each file of the archive, in bytes. Of a longer one its end is kept, as logs grow there.
const maxFile = 4 << 20

// archive is a tar archive, compressed with gzip. Errors of writing are kept and returned by close.
type archive struct {
	dir      string // of all files
	now      time.Time
	tar      *tar.Writer
	gzip     *gzip.Writer
	failed   error
	problems []string // what could not be read
}

func newArchive(w io.Writer, dir string, now time.Time) *archive {
	z := gzip.NewWriter(w)
	return &archive{dir: dir, now: now, gzip: z, tar: tar.NewWriter(z)}
}

// add adds a file.
func (a *archive) add(name string, content []byte) {
	if len(content) > maxFile {
		a.problem("%s: only the last %d of %d bytes are included", name, maxFile, len(content))
		content = content[len(content)-maxFile:]
	}
	if a.failed != nil {
		return
	}
	content = urlUser.ReplaceAll(content, []byte("://"+redacted+"@"))
	a.failed = a.tar.WriteHeader(&tar.Header{Name: a.dir + "/" + name, Mode: 0o600, Size: int64(len(content)), ModTime: a.now, Format: tar.FormatPAX})
	if a.failed == nil {
		_, a.failed = a.tar.Write(content)
	}
}

// addJSON adds a value without its secrets.
func (a *archive) addJSON(name string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		a.problem("%s: %v", name, err)
		return
	}
	a.addRedacted(name, text)
}

// addRedacted adds a JSON text, indented and without its secrets. A text that is not JSON may have secrets anywhere, so
// only its size is added.
func (a *archive) addRedacted(name string, text []byte) {
	clean, err := redact(text)
	if err != nil {
		a.problem("%s: left out, %d bytes that are not JSON: %v", name, len(text), err)
		return
	}
	a.add(name, clean)
}

// addFile adds a file of the node.
func (a *archive) addFile(name, path string) {
	text, err := readEnd(path)
	if err != nil {
		a.problem("%v", err)
		return
	}
	a.add(name, text)
}

// readEnd reads a file, at most its last maxFile bytes. Files of procfs have no size, and are read from the start.
func readEnd(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // a path of this node
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	if info.Size() > maxFile {
		if _, err = f.Seek(-maxFile, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

func (a *archive) problem(format string, args ...any) {
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

// close adds the list of problems and ends the archive.
func (a *archive) close() error {
	var text bytes.Buffer
	for _, p := range a.problems {
		fmt.Fprintln(&text, p)
	}
	a.add("problems.txt", text.Bytes())
	return errors.Join(a.failed, a.tar.Close(), a.gzip.Close())
}
