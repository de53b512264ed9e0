package main

import (
	"math/rand"
	"os"
	"testing"
	"time"
)

// recorded are two campaigns of a run on MySQL, Redis and Kafka: one is sold out, the other one has units that were
// returned and not sold again.
func recorded(t *testing.T) (campaigns []*Campaign) {
	t.Helper()
	file, err := os.Open("testdata/recorded.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	err = Read(file, func(campaign *Campaign) error {
		campaigns = append(campaigns, campaign)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return campaigns
}

// exitCode is what the program says of these campaigns.
func exitCode(campaigns []*Campaign) int {
	checker := &checker{timeout: 10 * time.Second, html: os.DevNull}
	checker.check(campaigns)
	return checker.report()
}

func TestRecordedControls(t *testing.T) {
	if code := exitCode(recorded(t)); code != 0 {
		t.Fatalf("a recorded history is rejected with %d", code)
	}
	for _, control := range []breach{
		{"a refusal becomes a unit beyond the stock", sellBeyond},
		{"sold out long after the units were returned", sellOutLate},
	} {
		broken := 0
		for nth := range recorded(t) {
			campaigns := recorded(t)
			if !control.plant(campaigns[nth], rand.New(rand.NewSource(1))) {
				continue
			}
			broken++
			if code := exitCode(campaigns); code != 1 {
				t.Errorf("%s: the program ends with %d", control.name, code)
			}
		}
		if broken == 0 {
			t.Errorf("%s: no campaign to break", control.name)
		}
	}
}

// The unit beyond the stock is all that is wrong with it: with one more unit, and without the other refusals that would
// be wrong then, the history is correct.
func TestAUnitBeyondTheStockIsTheOnlyFault(t *testing.T) {
	for _, campaign := range recorded(t) {
		if !sellBeyond(campaign, rand.New(rand.NewSource(1))) {
			continue
		}
		for range campaign.Max {
			campaign.roomForOne()
		}
		if code := exitCode([]*Campaign{campaign}); code != 0 {
			t.Errorf("campaign %d is rejected with %d", campaign.Campaign, code)
		}
	}
}
