package metricsproxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"time"
)

// certificates returns the server's certificate for each handshake.
type certificates struct {
	dir        string
	selfSigned *tls.Certificate
}

func newCertificates(dir string) (*certificates, error) {
	own, err := selfSign()
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	return &certificates{dir, own}, nil
}

// get reads the certificate from the directory, so that a renewed one is used at once. Without a certificate there it
// returns the self-signed one. Only the client's verification protects against another server in either case.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.dir == "" {
		return c.selfSigned, nil
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(c.dir, "tls.crt"), filepath.Join(c.dir, "tls.key"))
	if errors.Is(err, fs.ErrNotExist) {
		return c.selfSigned, nil
	}
	return &cert, err
}

// selfSign makes a certificate that lasts as long as the process.
func selfSign() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "bondkeeper-agent"}, DNSNames: []string{"bondkeeper-agent"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
