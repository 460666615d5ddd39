package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// qmp is a client of QEMU's monitor. Calls run one at a time, with a channel as lock.
type qmp struct {
	conn net.Conn
	dec  *json.Decoder
	turn chan struct{}
}

// qmpMessage is any message of QEMU: a response, an error or an event.
type qmpMessage struct {
	Return json.RawMessage `json:"return"`
	Event  string          `json:"event"`
	Error  *QMPError       `json:"error"`
}

// QMPError means that QEMU rejected a monitor command.
type QMPError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *QMPError) Error() string { return fmt.Sprintf("%s (%s)", e.Desc, e.Class) }

// newQMP greets the monitor on a connection that QEMU has made.
func newQMP(ctx context.Context, conn net.Conn) (*qmp, error) {
	q := &qmp{conn: conn, dec: json.NewDecoder(conn), turn: make(chan struct{}, 1)}
	if _, err := q.call(ctx, "qmp_capabilities", nil); err != nil {
		return nil, err
	}
	return q, nil
}

// call runs one command and returns its response. Events are dropped.
func (q *qmp) call(ctx context.Context, command string, args any) (_ json.RawMessage, err error) {
	select {
	case q.turn <- struct{}{}:
		defer func() { <-q.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// A cancelled call leaves its response unread, so the connection cannot be used afterwards.
	stop := context.AfterFunc(ctx, func() { _ = q.conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err != nil {
			err = errors.Join(ctx.Err(), err)
		}
	}()
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	if err := json.NewEncoder(q.conn).Encode(request); err != nil {
		return nil, fmt.Errorf("QMP %s: %w", command, err)
	}
	for {
		var m qmpMessage
		if err := q.dec.Decode(&m); err != nil {
			return nil, fmt.Errorf("QMP %s: %w", command, err)
		}
		if m.Error != nil {
			return nil, fmt.Errorf("QMP %s: %w", command, m.Error)
		}
		// The greeting has neither of them.
		if m.Return != nil {
			return m.Return, nil
		}
	}
}
