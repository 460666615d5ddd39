package store

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"sync"

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

// castagnoli is the table of CRC-32C. crc32.MakeTable would also make those for the processor's own instruction, which
// takes a plugin longer than all of its checksums.
var castagnoli = sync.OnceValue(func() *crc32.Table {
	t := new(crc32.Table)
	for i := range t {
		crc := uint32(i) //nolint:gosec // below 256
		for range 8 {
			crc = crc>>1 ^ crc&1*crc32.Castagnoli
		}
		t[i] = crc
	}
	return t
})

// encode returns the content of r's file.
func encode(r *bond.Record) ([]byte, error) {
	record, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	sum := crc32.Checksum(record, castagnoli())
	data, err := json.Marshal(file{version, &sum, record})
	return append(data, '\n'), err
}

// decode reads the content of the record file called name. Errors match ErrDamaged or ErrNewer.
func decode(name string, data []byte) (*bond.Record, error) {
	record, _, err := unwrap(data)
	if err != nil {
		return nil, err
	}
	r := new(bond.Record)
	if err := json.Unmarshal(record, r); err != nil {
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

// unwrap returns the encoded record of a file, and whether its checksum was compared. The version is read first, because
// the rest depends on it.
func unwrap(data []byte) (record json.RawMessage, summed bool, err error) {
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrDamaged, bond.DecodeError(err))
	}
	if f.Version > version {
		return nil, false, fmt.Errorf("%w: format %d, this program knows %d; left for the newer program", ErrNewer, f.Version, version)
	}
	if f.Version < 1 {
		return nil, false, fmt.Errorf("%w: format version %d", ErrDamaged, f.Version)
	}
	if f.Sum != nil && *f.Sum != crc32.Checksum(f.Record, castagnoli()) {
		return nil, false, fmt.Errorf("%w: the checksum is not that of the record (it may be removed from a record that was edited)", ErrDamaged)
	}
	return f.Record, f.Sum != nil, nil
}

// verify returns the error of decode, without decoding the record if its checksum is right.
func verify(name string, data []byte) error {
	record, summed, err := unwrap(data)
	var identity struct {
		Key bond.Key `json:"key"`
	}
	if err == nil && summed && json.Unmarshal(record, &identity) == nil && recordName(identity.Key) == name {
		return nil
	}
	_, err = decode(name, data)
	return err
}
