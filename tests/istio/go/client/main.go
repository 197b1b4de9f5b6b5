// Command client drives Istio's own CA client against a signer, one certificate after another.
//
// It prints one JSON line for each certificate that it got and verified, and ends with the first
// failure, whose text is Istio's own.
package main

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/security"
	"istio.io/istio/pkg/spiffe"
	"istio.io/istio/security/pkg/credentialfetcher/plugin"
	"istio.io/istio/security/pkg/nodeagent/cache"
	"istio.io/istio/security/pkg/nodeagent/caclient/providers/citadel"
	pkiutil "istio.io/istio/security/pkg/pki/util"
)

var (
	server    = flag.String("server", "", "HOST:PORT of the signer")
	root      = flag.String("root", "", "file of the roots that the signer's certificate is verified with")
	token     = flag.String("token", "", "file of the service-account token, read for each call")
	identity  = flag.String("identity", "", "file folder with cert-chain.pem and key.pem for mutual TLS")
	signer    = flag.String("signer", "", "the CertSigner to ask for")
	cluster   = flag.String("cluster", "Kubernetes", "the cluster's id")
	host      = flag.String("host", "spiffe://cluster.local/ns/default/sa/web", "the SPIFFE ID to ask for")
	key       = flag.String("key", "rsa", "rsa, p256 or p384")
	seconds   = flag.Int64("seconds", 3600, "the lifetime to ask for")
	out       = flag.String("out", "", "folder for key.pem, cert-chain.pem and root-cert.pem")
	rotations = flag.Int("rotations", -1, "run Istio's secret manager until it has rotated so often")
	ratio     = flag.Float64("ratio", 0.9, "the part of the lifetime that is left at a rotation")
)

func main() {
	flag.Parse()
	logging := log.DefaultOptions()
	logging.OutputPaths = []string{"stderr"}
	if err := log.Configure(logging); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	client, err := citadel.NewCitadelClient(options(), tlsOptions())
	if err != nil {
		return err
	}
	defer client.Close()
	if *rotations >= 0 {
		return rotate(client)
	}
	csr, keyPEM, err := pkiutil.GenCSR(certOptions())
	if err != nil {
		return err
	}
	chain, err := client.CSRSign(csr, *seconds)
	if err != nil {
		return err
	}
	return accept(chain, keyPEM)
}

func options() *security.Options {
	o := &security.Options{
		CAEndpoint:                     *server,
		ClusterID:                      *cluster,
		CertSigner:                     *signer,
		SecretTTL:                      time.Duration(*seconds) * time.Second,
		SecretRotationGracePeriodRatio: *ratio,
		OutputKeyCertToDir:             *out,
		WorkloadRSAKeySize:             2048,
		CAHeaders:                      map[string]string{},
	}
	if id, err := spiffe.ParseIdentity(*host); err == nil {
		o.WorkloadNamespace, o.ServiceAccount, o.TrustDomain = id.Namespace, id.ServiceAccount, id.TrustDomain
	}
	if *key != "rsa" {
		o.ECCSigAlg, o.ECCCurve = string(pkiutil.EcdsaSigAlg), curve()
	}
	if *token != "" {
		o.CredFetcher = plugin.CreateTokenPlugin(*token)
	}
	return o
}

func tlsOptions() *citadel.TLSOptions {
	o := &citadel.TLSOptions{RootCert: *root}
	if *identity != "" {
		o.Cert = filepath.Join(*identity, "cert-chain.pem")
		o.Key = filepath.Join(*identity, "key.pem")
	}
	return o
}

func curve() string {
	if *key == "p384" {
		return string(pkiutil.P384Curve)
	}
	return string(pkiutil.P256Curve)
}

func certOptions() pkiutil.CertOptions {
	o := pkiutil.CertOptions{Host: *host, RSAKeySize: 2048, PKCS8Key: true}
	if *key != "rsa" {
		o.ECSigAlg, o.ECCCurve = pkiutil.EcdsaSigAlg, pkiutil.SupportedEllipticCurves(curve())
	}
	return o
}

// accept verifies an answer as Istio does, writes it as its agent does, and tells of it.
func accept(chain []string, keyPEM []byte) error {
	joined := []byte{}
	for _, element := range chain {
		joined = append(joined, element...)
	}
	roots := []byte(chain[len(chain)-1])
	if err := verify(keyPEM, joined, roots); err != nil {
		return err
	}
	if *out != "" {
		for name, content := range map[string][]byte{
			"key.pem": keyPEM, "cert-chain.pem": joined, "root-cert.pem": roots,
		} {
			if err := os.WriteFile(filepath.Join(*out, name), content, 0o600); err != nil {
				return err
			}
		}
	}
	return tell(joined, roots, len(chain))
}

func verify(keyPEM, chain, roots []byte) error {
	expected := &pkiutil.VerifyFields{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		Host:        *host,
	}
	if *key == "rsa" {
		expected.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	return pkiutil.VerifyCertificate(keyPEM, chain, roots, expected)
}

func tell(chain, roots []byte, elements int) error {
	block, _ := pem.Decode(chain)
	if block == nil {
		return errors.New("the chain is not PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"serial":   fmt.Sprintf("%x", leaf.SerialNumber),
		"issuer":   leaf.Issuer.String(),
		"elements": elements,
		"roots":    bytes.Count(roots, []byte("BEGIN CERTIFICATE")),
	})
}

// rotate lets Istio's secret manager get certificates and renew them in time.
func rotate(client security.Client) error {
	manager, err := cache.NewSecretManagerClient(client, options())
	if err != nil {
		return err
	}
	defer manager.Close()
	due := make(chan struct{}, 1)
	manager.RegisterSecretHandler(func(resource string) {
		if resource == security.WorkloadKeyCertResourceName {
			due <- struct{}{}
		}
	})
	for range *rotations + 1 {
		if err := generate(manager); err != nil {
			return err
		}
		select {
		case <-due:
		case <-time.After(time.Minute):
			return errors.New("no rotation within a minute")
		}
	}
	return nil
}

// generate asks again as the agent does: after a refusal its client connects anew.
func generate(manager *cache.SecretManagerClient) error {
	var last error
	for range 3 {
		secret, err := manager.GenerateSecret(security.WorkloadKeyCertResourceName)
		if err != nil {
			last = err
			continue
		}
		if err := verify(secret.PrivateKey, secret.CertificateChain, secret.RootCert); err != nil {
			return err
		}
		return tell(secret.CertificateChain, secret.RootCert, 0)
	}
	return last
}
