// Command image makes the project's image as an OCI archive, and prints its size and digest (make image).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/bondkeeper/bondkeeper/test/image"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	o := image.Options{Root: "."}
	flag.StringVar(&o.Version, "version", "dev", "what the programs say of themselves")
	epoch := flag.Int64("epoch", 0, "time that all in the image bears, in seconds (SOURCE_DATE_EPOCH)")
	name := flag.String("name", "bondkeeper.io/bondkeeper:dev", "name of the image")
	archs := flag.String("archs", "amd64,arm64", "architectures, as Go names them")
	out := flag.String("o", "bondkeeper-image.tar", "archive to write")
	flag.Parse()
	o.Created = time.Unix(*epoch, 0)
	list := strings.Split(*archs, ",")
	images := map[string]v1.Image{}
	for _, arch := range list {
		made, err := image.Build(ctx, o, arch)
		if err != nil {
			return err
		}
		if err := report(arch, made); err != nil {
			return err
		}
		images[arch] = made
	}
	index := image.Index(images, list)
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if err := image.Write(*out, *name, index, o.Created); err != nil {
		return err
	}
	fmt.Printf("%s  %s  %s\n", *out, *name, digest)
	return nil
}

// report prints what a registry would store and send of an image.
func report(arch string, made v1.Image) error {
	layers, err := made.Layers()
	if err != nil {
		return err
	}
	digest, err := made.Digest()
	if err != nil {
		return err
	}
	total := int64(0)
	for _, l := range layers {
		size, err := l.Size()
		if err != nil {
			return err
		}
		total += size
	}
	fmt.Printf("linux/%s  %.1f MB compressed  %s\n", arch, float64(total)/1e6, digest)
	return nil
}
