package store

import (
	"encoding/json"
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// version is the format of the files. It goes up with every change of bond.Record that an
// older program would misread, or would lose by loading and saving. A field that may
// be ignored and lost does not count: unknown fields are skipped.
const version = 1

// maxSize bounds a record file, in bytes. A record of eight members with a hundred routes
// takes some 20 KiB.
const maxSize = 1 << 20

// encode is the content of r's file.
func encode(r *bond.Record) ([]byte, error) {
	data, err := json.Marshal(struct {
		Version int          `json:"version"`
		Record  *bond.Record `json:"record"`
	}{version, r})
	return append(data, '\n'), err
}

// decode reads the content of the record file called name. Errors match ErrDamaged or
// ErrNewer. The version is read before anything else, for what else there is depends on it.
func decode(name string, data []byte) (*bond.Record, error) {
	var file struct {
		Version int             `json:"version"`
		Record  json.RawMessage `json:"record"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if file.Version > version {
		return nil, fmt.Errorf("%w: format %d, this program knows %d; left for the newer program", ErrNewer, file.Version, version)
	}
	if file.Version < 1 {
		return nil, fmt.Errorf("%w: format version %d", ErrDamaged, file.Version)
	}
	r := new(bond.Record)
	if err := json.Unmarshal(file.Record, r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if recordName(r.Key) != name {
		return nil, fmt.Errorf("%w: it is the record of %s", ErrDamaged, r.Key)
	}
	return r, nil
}
