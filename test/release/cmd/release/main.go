// Command release makes the files of a release (make release).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/bondkeeper/bondkeeper/test/release"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	o := release.Options{Root: ".", Log: func(what string) { fmt.Println(what) }}
	flag.StringVar(&o.Version, "version", "", "version, such as v1.0.0")
	epoch := flag.Int64("epoch", 0, "time of everything in the archives, in seconds (SOURCE_DATE_EPOCH)")
	flag.StringVar(&o.Image, "image", "", "name of the image in the manifests, without its tag")
	flag.StringVar(&o.URL, "url", "", "address of the directory with the published files")
	tool := flag.String("sbom", "", "the program cyclonedx-gomod")
	flag.StringVar(&o.Out, "o", "", "directory to create; an existing one is replaced")
	check := flag.Bool("check", false, "make the release again, from a copy of the commit in another directory, and compare")
	flag.Parse()
	o.Created = time.Unix(*epoch, 0)
	o.Image += ":" + o.Version
	var err error
	if o.SBOMTool, err = filepath.Abs(*tool); err != nil {
		return err
	}
	if o.Out == "" || o.Version == "" {
		return errors.New("-o and -version are needed; use make release")
	}
	if err = os.RemoveAll(o.Out); err != nil {
		return err
	}
	if err = release.Make(ctx, o); err != nil || !*check {
		return err
	}
	return compare(ctx, o)
}

// compare makes the release again elsewhere.
func compare(ctx context.Context, o release.Options) error {
	if out, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output(); err != nil {
		return fmt.Errorf("git status: %w", err)
	} else if len(out) > 0 {
		return fmt.Errorf("a checkout with changes cannot be compared with its commit:\n%s", out)
	}
	dir, err := os.MkdirTemp("", "release-again-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	first := o.Out
	o.Root, o.Out = filepath.Join(dir, "sources"), filepath.Join(dir, "release")
	copyAll := fmt.Sprintf("mkdir %[1]s && git archive HEAD | tar -x -C %[1]s", o.Root)
	if out, err := exec.CommandContext(ctx, "sh", "-c", copyAll).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the commit: %w: %s", err, out)
	}
	fmt.Println("again, in", dir)
	if err := release.Make(ctx, o); err != nil {
		return err
	}
	if err := release.Same(first, o.Out); err != nil {
		return fmt.Errorf("made twice: %w", err)
	}
	fmt.Println("both releases have the same files, byte for byte")
	return nil
}
