#!/usr/bin/env bash
openapi-generator-cli generate -i openapi.json -g python -o python --package-name firstcome_client \
  --global-property modelTests=false,apiTests=false,modelDocs=false,apiDocs=false
