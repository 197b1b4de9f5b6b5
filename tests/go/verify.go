package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// verify checks the certificate in the folder for both sides of a connection.
func verify(s settings) error {
	certificates, err := read(s.file("chain.pem"))
	if err != nil {
		return err
	}
	roots, err := pool(s.file("roots.pem"))
	if err != nil {
		return err
	}
	at := time.Now()
	if s.at != "" {
		if at, err = time.Parse(time.RFC3339, s.at); err != nil {
			return err
		}
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := hold(certificates, roots, usage, at); err != nil {
			return err
		}
	}
	leaf := certificates[0]
	if err := named(leaf, s.id); err != nil {
		return err
	}
	if hold(certificates, roots, x509.ExtKeyUsageCodeSigning, at) == nil {
		return errors.New("it verifies for signing code")
	}
	if hold(certificates, x509.NewCertPool(), x509.ExtKeyUsageServerAuth, at) == nil {
		return errors.New("it verifies without roots")
	}
	say(map[string]any{
		"serial":     fmt.Sprintf("%x", leaf.SerialNumber),
		"not_before": leaf.NotBefore.Format(time.RFC3339),
		"not_after":  leaf.NotAfter.Format(time.RFC3339),
		"key":        leaf.PublicKeyAlgorithm.String(),
		"signature":  leaf.SignatureAlgorithm.String(),
		"encipher":   leaf.KeyUsage&x509.KeyUsageKeyEncipherment != 0,
	})
	return nil
}

// hold verifies a chain, leaf first, for one usage.
func hold(chain []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, at time.Time) error {
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	return err
}

// named checks that a certificate is an X.509-SVID for one SPIFFE ID (its specification, section 5).
func named(leaf *x509.Certificate, id string) error {
	switch {
	case len(leaf.URIs) != 1:
		return fmt.Errorf("there are %d URI names", len(leaf.URIs))
	case leaf.URIs[0].String() != id:
		return fmt.Errorf("it is %s, not %s", leaf.URIs[0], id)
	case leaf.IsCA || !leaf.BasicConstraintsValid:
		return errors.New("it is a CA, or does not say")
	case leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("it lacks digitalSignature")
	case leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return errors.New("it may sign certificates")
	case len(leaf.UnhandledCriticalExtensions) != 0:
		return errors.New("a critical extension is unknown")
	}
	return nil
}

func read(file string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no certificate", file)
	}
	return found, nil
}

func pool(file string) (*x509.CertPool, error) {
	roots, err := read(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	return pool, nil
}
