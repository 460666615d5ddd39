package atomicfile

import (
	"errors"
	"os"
)

// Replace writes data to a temporary file, with mode 0600, and renames it to path. The temporary file is in dir, which
// must be on the same file system; pattern is that of os.CreateTemp. After an error path is as before and the temporary
// file is removed; only a killed writer leaves one. Calls for one path at the same time are safe: the last rename
// counts.
func Replace(path, dir, pattern string, data []byte) (err error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
