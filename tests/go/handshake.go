package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// mutual is a configuration for either side: it presents what is in the folder, and takes a peer
// whose chain verifies for its usage and whose name is the one expected.
func mutual(s settings, usage x509.ExtKeyUsage) (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(s.file("chain.pem"), s.file("key.pem"))
	if err != nil {
		return nil, err
	}
	roots, err := pool(s.file("roots.pem"))
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   max(s.version, tls.VersionTLS12),
		MaxVersion:   s.version,
		Certificates: []tls.Certificate{own},
		// A client checks a host's name by itself, and a SPIFFE ID is none; VerifyConnection does
		// all of it instead, for resumed connections too.
		InsecureSkipVerify: true,
		ClientAuth:         tls.RequireAnyClientCert,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return fmt.Errorf("the peer has no certificate")
			}
			if err := hold(state.PeerCertificates, roots, usage, time.Now()); err != nil {
				return err
			}
			return named(state.PeerCertificates[0], s.id)
		},
	}, nil
}

// serve takes connections until it is killed, and sends each line back reversed.
func serve(s settings) error {
	config, err := mutual(s, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return err
	}
	say(map[string]any{"address": listener.Addr().String()})
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go answer(connection)
	}
}

func answer(connection net.Conn) {
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewScanner(connection)
	for lines.Scan() && lines.Text() != "CLOSE" {
		letters := []byte(lines.Text())
		slices.Reverse(letters)
		if _, err := fmt.Fprintf(connection, "%s\n", letters); err != nil {
			return
		}
	}
}

// dial connects so often, with one cache of sessions.
func dial(s settings) error {
	config, err := mutual(s, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return err
	}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	// The key of the cache: the peer's name is in no handshake.
	config.ServerName = "peer.invalid"
	for range s.times {
		state, err := talk(s.address, config)
		if err != nil {
			return err
		}
		say(map[string]any{
			"version": tls.VersionName(state.Version),
			"resumed": state.DidResume,
			"peer":    state.PeerCertificates[0].URIs[0].String(),
		})
	}
	return nil
}

func talk(address string, config *tls.Config) (*tls.ConnectionState, error) {
	connection, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", address, config)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprint(connection, "hello\n"); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(line) != "olleh" {
		return nil, fmt.Errorf("the answer is %q", line)
	}
	_, _ = fmt.Fprint(connection, "CLOSE\n")
	state := connection.ConnectionState()
	return &state, nil
}
