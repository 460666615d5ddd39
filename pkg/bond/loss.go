package bond

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"
)

// LossID returns the ID of a loss: eight characters, which are the same for the same loss only. All log lines and
// events about the loss and its repair have it. subject is as in RepairLog.Open.
func LossID(k Key, subject string, since time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", k, subject, since.UnixNano()))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}

// LossOf returns the ID of the open loss of a subject, as in RepairLog.Open; empty if there is none.
func (r *Record) LossOf(subject string) string { return r.Repairs.Open[subject].ID }

// LossIDs returns the IDs of the losses that the bond's state follows from, sorted: those that are open. While the bond
// has not settled since its last repair, and nothing is lost, that is the repaired one.
func (r *Record) LossIDs() []string {
	var ids []string
	for _, loss := range r.Repairs.Open {
		if loss.ID != "" {
			ids = append(ids, loss.ID)
		}
	}
	if len(r.Repairs.Open) == 0 && !r.Settled {
		return r.lastLoss()
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// AnnouncedLosses returns the IDs of the losses after which the bond's addresses are announced.
func (r *Record) AnnouncedLosses() []string {
	if ids := r.LossIDs(); len(ids) > 0 {
		return ids
	}
	return r.lastLoss()
}

func (r *Record) lastLoss() []string {
	if last := r.Repairs.Last; last != nil && last.ID != "" {
		return []string{last.ID}
	}
	return nil
}
