package install

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/leak"
)

// asReader makes the test binary execute a plugin repeatedly and report each execution.
const asReader = "BONDKEEPER_TEST_READ"

// v1 and v2 are two builds of the plugin.
var v1, v2 string

func TestMain(m *testing.M) {
	if plugin := os.Getenv(asReader); plugin != "" {
		read(plugin)
		return
	}
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" { // fuzz targets need no plugin, and each worker runs TestMain
		os.Exit(m.Run())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "install-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		v1, err = build(dir, "v1")
	}
	if err == nil {
		v2, err = build(dir, "v2")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return leak.Main(m)
}

func build(dir, version string) (string, error) {
	path := filepath.Join(dir, version)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version, "-o", path, ourMain)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the plugin: %w: %s", err, out)
	}
	return path, nil
}

// read executes the plugin until its standard input ends, and writes a line for each.
func read(plugin string) {
	ended := make(chan struct{})
	go func() { _, _ = os.Stdin.Read(make([]byte, 1)); close(ended) }()
	for {
		select {
		case <-ended:
			return
		default:
		}
		cmd := exec.Command(plugin)
		cmd.Env = []string{"CNI_COMMAND=VERSION"}
		err := cmd.Run()
		if err == nil {
			fmt.Println("ok")
			continue
		}
		fmt.Println(time.Now().Format(time.TimeOnly), err)
	}
}
