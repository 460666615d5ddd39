package agent

import (
	"os"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }
