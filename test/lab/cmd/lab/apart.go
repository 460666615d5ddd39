package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// testApart tests each package in its own guest, several at a time. Each line of output starts with the package's name.
func (o *testOptions) testApart(ctx context.Context, packages []testPackage) ([]result, error) {
	results := make([]result, len(packages))
	var lines, compiler sync.Mutex
	var group errgroup.Group
	group.SetLimit(o.guests)
	for i, p := range packages {
		group.Go(func() error {
			out := &prefixWriter{mu: &lines, to: o.out, prefix: p.short() + ": "}
			defer out.flush()
			one := *o
			one.compiler, one.out, one.log = &compiler, out, out
			if slices.Contains(o.smp, p.short()) {
				one.cfg.CPUs = max(2, one.cfg.CPUs)
			}
			results[i] = one.testIsolated(ctx, p)
			fmt.Fprintf(out, "%s\n", results[i].line())
			return ctx.Err()
		})
	}
	return results, group.Wait()
}

// testIsolated tests one package in its own guest. A guest that does not come up fails the package, not the others.
func (o *testOptions) testIsolated(ctx context.Context, p testPackage) result {
	began := time.Now()
	results, err := o.test(ctx, []testPackage{p})
	if err != nil {
		fmt.Fprintln(o.out, err)
		return result{pkg: p.ImportPath, err: err, took: time.Since(began)}
	}
	return results[0]
}

// prefixWriter writes complete lines with a prefix. Several can share one writer and mutex.
type prefixWriter struct {
	mu     *sync.Mutex
	to     io.Writer
	prefix string
	rest   []byte
}

func (w *prefixWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	end := bytes.LastIndexByte(w.rest, '\n') + 1
	var text bytes.Buffer
	for line := range bytes.Lines(w.rest[:end]) {
		if len(bytes.TrimSpace(line)) > 0 {
			text.WriteString(w.prefix)
			text.Write(line)
		}
	}
	w.rest = append([]byte(nil), w.rest[end:]...)
	_, err := w.to.Write(text.Bytes())
	return len(p), err
}

// flush writes a last line without newline.
func (w *prefixWriter) flush() {
	if len(w.rest) > 0 {
		_, _ = w.Write([]byte("\n"))
	}
}
