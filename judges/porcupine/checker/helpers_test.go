package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A history is written as lines, one operation each; times are in any unit. Users are numbers, keys words:
//
//	0-9 user 1 takes 1 key a -> accepted x rank 1
//	10-19 user 2 takes 1 -> sold_out
//	20-29 user 1 cancels x -> done
//	30-39 stock -> 1
//	row user 1 has 1 x rank 1 cancelled
func campaignOf(t *testing.T, stock, limit int64, text string) *Campaign {
	t.Helper()
	campaign := &Campaign{Line: Line{Campaign: 1, Stock: &stock, Limit: limit, Max: limit, Cancellable: true}}
	campaign.End = Line{Op: "end", Call: 1000, Return: 1001}
	for _, written := range strings.Split(strings.TrimSpace(text), "\n") {
		line := Line{Campaign: 1, Quantity: 1}
		words := strings.Fields(strings.NewReplacer("-> accepted", "accepted", "->", "outcome").Replace(written))
		if words[0] == "row" {
			line.Op, line.Status = "row", "confirmed"
		} else if _, err := fmt.Sscanf(words[0], "%d-%d", &line.Call, &line.Return); err != nil {
			t.Fatal(written, err)
		}
		for nth := 1; nth < len(words); nth++ {
			next := ""
			if nth+1 < len(words) {
				next = words[nth+1]
			}
			number := json.Number(next)
			value, _ := number.Int64()
			switch words[nth] {
			case "user":
				line.User = value
			case "takes", "has":
				line.Quantity = value
				if words[nth] == "takes" {
					line.Op = "participate"
				}
			case "key":
				line.Key = next
			case "accepted":
				line.Outcome, line.ID = accepted, next
			case "rank":
				line.Rank = value
			case "left":
				line.Remaining = &value
			case "cancels":
				line.Op, line.ID = "cancel", next
			case "stock":
				line.Op = "stock"
			case "outcome":
				line.Outcome, line.Units = next, value
			case "cancelled", "expired":
				line.Status = words[nth]
			default:
				// The id of a row or of a first participation.
				if len(words[nth]) == 1 && words[nth] >= "x" && line.ID == "" {
					line.ID = words[nth]
				}
			}
		}
		if err := campaign.add(line); err != nil {
			t.Fatal(written, err)
		}
	}
	return campaign
}

func verdict(campaign *Campaign) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, Resolve(campaign), 10*time.Second)
}

type history struct{ name, text string }

func expect(t *testing.T, want porcupine.CheckResult, stock, limit int64, histories []history, change func(*Campaign)) {
	t.Helper()
	for _, one := range histories {
		campaign := campaignOf(t, stock, limit, one.text)
		if change != nil {
			change(campaign)
		}
		if got := verdict(campaign); got != want {
			for _, operation := range Resolve(campaign) {
				t.Log(operation.Call, operation.Return, operation.Input)
			}
			t.Errorf("%s: %s instead of %s", one.name, got, want)
		}
	}
}
