package heal

import (
	"context"
	"regexp"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// oldRenames: the kernel renames a link only while it is down, and the agent sets no link down for that while it
// carries traffic.
var oldRenames = !kit.RenamesUp()

var advice = regexp.MustCompile(`it is renamed once it is down \(ip link set (\S+) down\)`)

// followAdvice sets down each link of which the agent says that it is renamed then, as an operator does, until ctx ends.
func (s *faultRun) followAdvice(ctx context.Context) {
	place := s.r.log.len()
	for {
		l, next, err := s.r.log.await(ctx, place, func(l Line) bool { return l.Msg == "bond state changed" && advice.MatchString(l.Reason) })
		if err != nil {
			return
		}
		place = next
		for _, p := range s.r.Pods() {
			if !p.is(l) {
				continue
			}
			for _, link := range advice.FindAllStringSubmatch(l.Reason, -1) {
				s.logf("an operator sets down %s in %s, as the agent advises", link[1], p.Name)
				_ = ip(ctx, "-n %s link set %s down", p.Name, link[1]) // it may have another name by now
			}
		}
	}
}
