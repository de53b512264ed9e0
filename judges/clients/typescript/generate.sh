#!/usr/bin/env bash
npx openapi-typescript openapi.json -o firstcome.d.ts
