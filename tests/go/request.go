package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

const method = "/istio.v1.auth.IstioCertificateService/CreateCertificate"

// request asks the service for a certificate so often, each time on a new connection, with one
// cache of sessions: gRPC by hand, over net/http.
func request(s settings) error {
	roots, err := pool(s.file("roots.pem"))
	if err != nil {
		return err
	}
	config := &tls.Config{
		MinVersion:         max(s.version, tls.VersionTLS12),
		MaxVersion:         s.version,
		RootCAs:            roots,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
	headers := http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	if s.anonymous {
		token, err := os.ReadFile(s.token)
		if err != nil {
			return err
		}
		headers.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	} else {
		own, err := tls.LoadX509KeyPair(s.file("chain.pem"), s.file("key.pem"))
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{own}
	}
	for range s.times {
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		client := &http.Client{Transport: transport, Timeout: patience}
		err := create(client, s.address, headers)
		transport.CloseIdleConnections()
		if err != nil {
			return err
		}
	}
	return nil
}

func create(client *http.Client, address string, headers http.Header) error {
	message, err := csr()
	if err != nil {
		return err
	}
	call, err := http.NewRequest(http.MethodPost, "https://"+address+method, bytes.NewReader(frame(message)))
	if err != nil {
		return err
	}
	call.Header = headers.Clone()
	response, err := client.Do(call)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if status := response.Trailer.Get("Grpc-Status"); status != "0" {
		return fmt.Errorf("status %q %q: %s", status, response.Header.Get("Grpc-Status"), response.Header.Get("Grpc-Message"))
	}
	leaf, err := first(body)
	if err != nil {
		return err
	}
	say(map[string]any{
		"serial":  fmt.Sprintf("%x", leaf.SerialNumber),
		"version": tls.VersionName(response.TLS.Version),
		"resumed": response.TLS.DidResume,
	})
	return nil
}

// csr is the message: field 1 the request, field 2 the lifetime of 3600 s.
func csr() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	message := binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(text)))
	message = append(message, text...)
	return binary.AppendUvarint(append(message, 2<<3), 3600), nil
}

// frame puts gRPC's five octets before a message.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// first reads the first element of the answer's chain.
func first(body []byte) (*x509.Certificate, error) {
	if len(body) < 6 || body[0] != 0 || body[5] != 1<<3|2 {
		return nil, errors.New("the answer is no message with a chain")
	}
	length, octets := binary.Uvarint(body[6:])
	if octets <= 0 || uint64(len(body)) < 6+uint64(octets)+length {
		return nil, errors.New("the answer is cut off")
	}
	block, _ := pem.Decode(body[6+octets : 6+octets+int(length)])
	if block == nil {
		return nil, errors.New("the answer's first element is not PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
