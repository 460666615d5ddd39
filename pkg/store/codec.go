package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

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
	// Sum is the SHA-256 of Record as in the file, in hexadecimal. A changed bit in a PCI address names another VF, which
	// no other check finds. Older versions write none, and skip it.
	Sum    string          `json:"sha256,omitempty"`
	Record json.RawMessage `json:"record"`
}

func sumOf(record []byte) string {
	sum := sha256.Sum256(record)
	return hex.EncodeToString(sum[:])
}

// encode returns the content of r's file, and what decode returns for it. What cannot be loaded is an error.
func encode(r *bond.Record) (data []byte, loaded *bond.Record, err error) {
	if loaded, err = r.Stored(); err != nil {
		return nil, nil, fmt.Errorf("network config: %w", err)
	}
	record, err := json.Marshal(loaded)
	if err != nil {
		return nil, nil, err
	}
	data = wrap(record)
	if bytes.Contains(record, replaced) {
		loaded, err = decode(recordName(r.Key), data)
		return data, loaded, err
	}
	return data, loaded, loaded.Validate()
}

// replaced is what encoding/json makes of text that is not UTF-8.
var replaced = []byte(`\ufffd`)

// wrap returns the content of a file with an encoded record. To encode a file costs as much as its record.
func wrap(record []byte) []byte {
	data := make([]byte, 0, len(record)+128)
	data = fmt.Appendf(data, `{"version":%d,"sha256":%q,"record":`, version, sumOf(record))
	data = append(data, record...)
	return append(data, "}\n"...)
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
	if f.Sum != "" && f.Sum != sumOf(f.Record) {
		return nil, false, fmt.Errorf("%w: the checksum is not that of the record (it may be removed from a record that was edited)", ErrDamaged)
	}
	return f.Record, f.Sum != "", nil
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
