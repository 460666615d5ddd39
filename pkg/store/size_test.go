package store

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestSaveWhatIsTooLarge: a record that could not be loaded again is not saved, the previous one remains. What is saved
// leaves space for its tombstone.
func TestSaveWhatIsTooLarge(t *testing.T) {
	s := newStore(t)
	r := sample(key("a"))
	kit.Must(t, s.Save(r))
	config := func(size int) json.RawMessage {
		return json.RawMessage(`"` + string(bytes.Repeat([]byte("x"), size)) + `"`)
	}
	large := r.Clone()
	size := maxSize
	for large.CNI.Config = config(size); s.Save(large) != nil; large.CNI.Config = config(size) {
		size -= 512
	}
	if size > maxSize-tombstoneGrowth || size < maxSize/2 {
		t.Errorf("a config of %d bytes was saved", size)
	}
	loaded, err := s.Load(r.Key)
	kit.Must(t, err)
	loaded.Phase, loaded.CNI.IPAMError = bond.PhaseDeleting, string(bytes.Repeat([]byte("e"), tombstoneGrowth/2))
	kit.Must(t, s.Save(loaded))
	_, err = s.Load(r.Key)
	kit.Must(t, err)
}
