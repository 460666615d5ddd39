package kube

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// GuestHost is the address of the host's loopback in a guest of the lab that has a user network.
const GuestHost = "10.0.2.2"

// serviceHost is the address of the service kubernetes.default.
const serviceHost = "10.0.0.1"

// Users with a static token. Their groups are those in a real cluster's certificates; all other users are reached by
// impersonation (As).
const (
	adminUser      = "admin"
	controllerUser = "system:kube-controller-manager"
	schedulerUser  = "system:kube-scheduler"
)

// secrets are the files with which the API server authenticates itself and others.
type secrets struct {
	certFile, keyFile, accountKeyFile, tokenFile string
	// certPEM is the serving certificate with its CA.
	certPEM []byte
	tokens  map[string]string
}

// newSecrets writes them to a directory.
func newSecrets(dir string) (*secrets, error) {
	s := &secrets{
		certFile: filepath.Join(dir, "server.crt"), keyFile: filepath.Join(dir, "server.key"),
		accountKeyFile: filepath.Join(dir, "accounts.key"), tokenFile: filepath.Join(dir, "tokens.csv"),
		tokens: map[string]string{adminUser: rand.Text(), controllerUser: rand.Text(), schedulerUser: rand.Text()},
	}
	names := []string{"localhost", "kubernetes.default.svc"}
	cert, key, err := certutil.GenerateSelfSignedCertKey(loopback.String(), []net.IP{net.ParseIP(GuestHost), net.ParseIP(serviceHost)}, names)
	if err != nil {
		return nil, fmt.Errorf("kube: make the serving certificate: %w", err)
	}
	s.certPEM = cert
	accountKey, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return nil, fmt.Errorf("kube: make the key of service accounts: %w", err)
	}
	var tokens []byte
	for user, token := range s.tokens {
		groups := ""
		if user == adminUser {
			groups = "system:masters"
		}
		tokens = fmt.Appendf(tokens, "%s,%s,%s,%q\n", token, user, user, groups)
	}
	for file, text := range map[string][]byte{s.certFile: cert, s.keyFile: key, s.accountKeyFile: accountKey, s.tokenFile: tokens} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return nil, fmt.Errorf("kube: %w", err)
		}
	}
	return s, nil
}
