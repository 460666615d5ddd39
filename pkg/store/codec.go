package store

import (
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// version is the format of the files. It increases with every change of bond.Record that an older program would
// misread, or lose by loading and saving. Fields that may be lost do not count: unknown fields are skipped.
const version = 1

// maxSize bounds a record file, in bytes. A record of eight members with a hundred routes
// takes some 20 KiB.
const maxSize = 1 << 20

// file is the content of a record file.
type file struct {
	Version int `json:"version"`
	// Sum is the CRC-32C of Record as in the file. A changed bit in a PCI address names another VF, which no other
	// check finds. Older versions write no sum and skip it.
	Sum    *uint32         `json:"sum,omitempty"`
	Record json.RawMessage `json:"record"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the content of r's file.
func encode(r *bond.Record) ([]byte, error) {
	record, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	sum := crc32.Checksum(record, castagnoli)
	data, err := json.Marshal(file{version, &sum, record})
	return append(data, '\n'), err
}

// decode reads the content of the record file called name. Errors match ErrDamaged or ErrNewer. The version is read
// first, because the rest depends on it.
func decode(name string, data []byte) (*bond.Record, error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, bond.DecodeError(err))
	}
	if f.Version > version {
		return nil, fmt.Errorf("%w: format %d, this program knows %d; left for the newer program", ErrNewer, f.Version, version)
	}
	if f.Version < 1 {
		return nil, fmt.Errorf("%w: format version %d", ErrDamaged, f.Version)
	}
	if f.Sum != nil && *f.Sum != crc32.Checksum(f.Record, castagnoli) {
		return nil, fmt.Errorf("%w: the checksum is not that of the record (it may be removed from a record that was edited)", ErrDamaged)
	}
	r := new(bond.Record)
	if err := json.Unmarshal(f.Record, r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, bond.DecodeError(err))
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if recordName(r.Key) != name {
		return nil, fmt.Errorf("%w: it is the record of %s", ErrDamaged, r.Key)
	}
	return r, nil
}
