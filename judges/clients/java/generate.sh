#!/usr/bin/env bash
openapi-generator-cli generate -i openapi.json -g java --library native -o java \
  --invoker-package firstcome --api-package firstcome.api --model-package firstcome.model \
  --global-property modelTests=false,apiTests=false,modelDocs=false,apiDocs=false
