// A client of an etcd cluster in a process of its own: etcd's Go client, over gRPC, on as many connections as serve it best.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"os"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/pkg/transport"
)

const dialTimeout = 5 * time.Second
const outstandingPerConnection = 32
const mostConnections = 8

type settings struct {
	Endpoints    []string `json:"endpoints"`
	Certificates string   `json:"certificates"`
	CommandBytes int      `json:"command_bytes"`
	Keys         int      `json:"keys"`
}

type loader struct {
	told  settings
	tls   *tls.Config
	keys  []string
	value string
}

func (l *loader) dial(endpoint string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: dialTimeout, TLS: l.tls})
}

func (l *loader) answer(asked request) (report, error) {
	switch asked.Ask {
	case "status":
		return l.status()
	case "load":
		return l.load(asked)
	case "fill":
		return l.fill(asked)
	}
	return nil, errors.New("no such request: " + asked.Ask)
}

// status asks every member; one that does not answer is told as absent.
func (l *loader) status() (report, error) {
	members := map[string]report{}
	for _, endpoint := range l.told.Endpoints {
		client, err := l.dial(endpoint)
		if err != nil {
			continue
		}
		limited, cancel := context.WithTimeout(context.Background(), dialTimeout)
		status, err := client.Status(limited, endpoint)
		cancel()
		client.Close()
		if err == nil {
			members[endpoint] = report{
				"leads":    status.Leader == status.Header.MemberId,
				"term":     status.RaftTerm,
				"revision": status.Header.Revision,
			}
		}
	}
	return report{"members": members}, nil
}

func (l *loader) load(asked request) (report, error) {
	connections := asked.Order.Outstanding / outstandingPerConnection
	if connections > mostConnections {
		connections = mostConnections
	}
	if connections < 1 {
		connections = 1
	}
	clients := make([]*clientv3.Client, connections)
	for place := range clients {
		client, err := l.dial(asked.Endpoint)
		if err != nil {
			return nil, err
		}
		defer client.Close()
		clients[place] = client
	}
	found := asked.Order.run(func(caller, callers, size int) call {
		return l.newCall(asked.Order.Mode, clients[caller%connections], caller, callers)
	})
	found["connections"] = connections
	return found, nil
}

func (l *loader) newCall(mode string, client *clientv3.Client, caller, callers int) call {
	background := context.Background()
	next := caller % len(l.keys)
	step := func() string {
		key := l.keys[next]
		next = (next + callers) % len(l.keys)
		return key
	}
	if mode == "read" {
		return func() error {
			found, err := client.Get(background, step())
			if err == nil && len(found.Kvs) == 0 {
				err = errors.New("the value is not there: measured something else")
			}
			return err
		}
	}
	return func() error {
		_, err := client.Put(background, step(), l.value)
		return err
	}
}

// fill commits that many puts, key after key, in transactions.
func (l *loader) fill(asked request) (report, error) {
	client, err := l.dial(asked.Endpoint)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var done, calls int64
	for done < asked.Count {
		var puts []clientv3.Op
		for len(puts) < mostPutsPerTransaction && done < asked.Count {
			puts = append(puts, clientv3.OpPut(l.keys[done%int64(len(l.keys))], l.value))
			done++
		}
		if _, err := client.Txn(context.Background()).Then(puts...).Commit(); err != nil {
			return nil, err
		}
		calls++
	}
	return report{"acknowledged": done, "calls": calls}, nil
}

func main() {
	var told settings
	if err := json.Unmarshal([]byte(os.Args[1]), &told); err != nil {
		fail(err)
	}
	here := &loader{told: told}
	here.keys, here.value = makeKeys(told.Keys, told.CommandBytes)
	if told.Certificates != "" {
		info := transport.TLSInfo{
			CertFile:      told.Certificates + "/cert.pem",
			KeyFile:       told.Certificates + "/key.pem",
			TrustedCAFile: told.Certificates + "/ca.pem",
		}
		config, err := info.ClientConfig()
		if err != nil {
			fail(err)
		}
		here.tls = config
	}
	serve(here.answer)
}
