package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// pack makes an image of the files that the build stage left in out, a layer for each COPY.
func pack(r *recipe, out string, created time.Time, arch string) (v1.Image, error) {
	base := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	image, err := mutate.ConfigFile(base, &v1.ConfigFile{
		OS: "linux", Architecture: arch, Created: v1.Time{Time: created.UTC()}, Config: r.config,
	})
	if err != nil {
		return nil, err
	}
	for _, f := range r.files {
		program, err := os.ReadFile(filepath.Join(out, filepath.Base(f.source)))
		if err != nil {
			return nil, fmt.Errorf("COPY %s: the build stage has not made it: %w", f.source, err)
		}
		layer, err := layerOf(f.target, program, created)
		if err != nil {
			return nil, err
		}
		image, err = mutate.Append(image, mutate.Addendum{
			Layer: layer, MediaType: types.OCILayer,
			History: v1.History{Created: v1.Time{Time: created.UTC()}, CreatedBy: "COPY " + f.source + " " + f.target},
		})
		if err != nil {
			return nil, err
		}
	}
	return image, nil
}

// layerOf is a layer with one program.
func layerOf(target string, program []byte, created time.Time) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(target, "/"), Mode: 0o755, Size: int64(len(program)), ModTime: created})
	if err == nil {
		_, err = w.Write(program)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
}

// Index is one name for the images of several architectures.
func Index(images map[string]v1.Image, archs []string) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range archs {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        images[arch],
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index
}

// Write writes an archive in the OCI image layout, under that name, which container runtimes and skopeo import. The
// same index and name give the same archive.
func Write(path, name string, index v1.ImageIndex, created time.Time) error {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	// The first is what the specification knows, the second what containerd takes for the whole name.
	names := map[string]string{"org.opencontainers.image.ref.name": tagOf(name), "io.containerd.image.name": name}
	if err = l.AppendIndex(index, layout.WithAnnotations(names)); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := archive(f, dir, created); err != nil {
		_ = f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

func tagOf(name string) string { return name[strings.LastIndexAny(name, ":/")+1:] }

// archive packs a directory in the order of its names.
func archive(to io.Writer, dir string, created time.Time) error {
	w := tar.NewWriter(to)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		h := &tar.Header{Name: name, ModTime: created, Mode: 0o644, Typeflag: tar.TypeReg}
		if e.IsDir() {
			h.Name, h.Mode, h.Typeflag = name+"/", 0o755, tar.TypeDir
			return w.WriteHeader(h)
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		h.Size = int64(len(data))
		if err = w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}
