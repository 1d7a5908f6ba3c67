"""`vidi bench explain`: ViDi's DeepSHAP engines against shap and captum, side by side in one run."""
